"""The commands, one file each: `ABOUT` describes it, `add` declares the flags, `run` calls the library."""

from asterism.commands import (
    demo,
    directions,
    doctor,
    edit,
    evaluate,
    export,
    generate,
    grid,
    import_,
    info,
    interpolate,
    judge,
    list_,
    pack,
    project,
    report,
    serve,
    studio,
    train,
    translate,
)

COMMANDS = {
    "demo": demo,
    "doctor": doctor,
    "pack": pack,
    "train": train,
    "translate": translate,
    "generate": generate,
    "project": project,
    "edit": edit,
    "directions": directions,
    "interpolate": interpolate,
    "grid": grid,
    "evaluate": evaluate,
    "judge": judge,
    "report": report,
    "studio": studio,
    "serve": serve,
    "export": export,
    "import": import_,
    "list": list_,
    "info": info,
}
"""Name on the command line -> module, in the order of the help page."""

COMPUTING = COMMANDS.keys() - {"pack", "report", "import", "list", "info"}
"""Those in which networks are computed."""
