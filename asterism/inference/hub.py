"""Models as self-contained folders, and on the hub: the model file, its card, its scores, a sheet of pictures.

`asterism.load` takes such a folder as it takes a run, and `owner/name` once it is on the hub.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from asterism.inference.card import write_card
from asterism.recipes.model import load_model
from asterism.runs.folder import Run, read_run
from asterism.storage.model_file import FILE_NAME, HUB_NAME, ModelError, find_model
from asterism.storage.whole import write_whole


def save_pretrained(
    run: str | os.PathLike[str], folder: str | os.PathLike[str], *, name: str | None = None, overwrite: bool = False
) -> Path:
    """Write a model's folder: model.safetensors as it is, README.md, and what the run holds of config.json, scores.json, sheet.

    Args:
        run: a run folder, a model file, or a hub name.
        folder: new or empty, unless `overwrite`.
        name: what the card calls the model, owner/name; none takes the folder's name.
        overwrite: replace files of the same names; other files in the folder are left alone.

    Raises:
        ModelError: no such model, a name that is none, or a folder that holds something.
        OSError: no room on the disk, or no right to write.
    """
    if name is not None and not HUB_NAME.fullmatch(name):
        raise ModelError(f"{name!r} is not a hub name; expected owner/name")
    source, folder = find_model(run), Path(folder)
    abilities = load_model(source).recipe.abilities  # A damaged file, or one that this version cannot use, is not handed on.
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
        raise ModelError(f"{folder} already exists and is not empty: give another folder, or --overwrite")
    told = read_run(source.parent) if source.name == FILE_NAME else _alone(source)
    files: dict[str, bytes] = {FILE_NAME: source.read_bytes()}
    sheet = told.held_out or (told.previews[-1] if told.previews else None)
    picture = None
    if sheet is not None:
        picture = sheet.file.relative_to(source.parent).as_posix()
        files[picture] = sheet.file.read_bytes()
    if (source.parent / "config.json").exists() and source.name == FILE_NAME:
        files["config.json"] = (json.dumps(_without_places(dict(told.config)), indent=2) + "\n").encode()
    if told.scores:
        files["scores.json"] = (source.parent / "scores.json").read_bytes()
    files["README.md"] = write_card(told, name or folder.resolve().name, picture, abilities).encode(errors="backslashreplace")
    for path, content in files.items():
        write_whole(folder / path, content, sync=True)
    return folder


def push_to_hub(run: str | os.PathLike[str], name: str, *, private: bool = True) -> str:
    """Upload a model's folder to the hub.

    Args:
        run: as for `save_pretrained`.
        name: owner/name. A repository that is not there is made; its files of the same names are replaced, and the hub keeps
            what they were.
        private: whether a repository that is made is private; one that is there stays as it is.

    Returns:
        The page of the model.

    Raises:
        ModelError: as for `save_pretrained`, or a hub that is not reached or refuses.
    """
    from huggingface_hub import HfApi  # Slow to import, and only the hub needs it.
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    with tempfile.TemporaryDirectory() as place:
        folder = save_pretrained(run, Path(place) / "model", name=name)
        api = HfApi()
        try:
            page = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=folder, commit_message="Model, card and scores")
        except OfflineModeIsEnabled as error:
            raise ModelError(
                f"{name} is not uploaded, because HF_HUB_OFFLINE is set: unset it, or only write the folder (--out)"
            ) from error
        except LocalTokenNotFoundError as error:
            raise ModelError(
                f"{name} is not uploaded, because you are not logged in: run `hf auth login`, or set HF_TOKEN"
            ) from error
        except HFValidationError as error:
            raise ModelError(f"{name!r} is not a hub name; expected owner/name: {_first_line(error)}") from error
        except HfHubHTTPError as error:  # It answered.
            refused = error.response is not None and error.response.status_code in (401, 403)
            remedy = ". Log in with `hf auth login`; the token needs write access" if refused else "; try again later"
            raise ModelError(f"{name} is not uploaded: {_first_line(error)}{remedy}") from error
        except (HTTPError, OSError) as error:
            raise ModelError(f"{name} is not uploaded, because the hub cannot be reached: {_first_line(error)}") from error
    return str(page)


def _alone(file: Path) -> Run:
    """Say of a model file that lies in no run what it says itself."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copyfile(file, Path(place) / FILE_NAME)
        return read_run(Path(place))


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a run's configuration where its author's files are: data by their folders' names."""
    data = dict(config.get("data") or {})
    if "sources" in data:
        data["sources"] = [Path(source).name for source in data["sources"]]
    places = {"recipe_from": os.path.basename(config["recipe_from"])} if "recipe_from" in config else {}
    return {**config, **places, "data": data}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
