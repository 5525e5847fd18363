"""Shards: many pictures in few large files, local or in an object store, read by position.

A source is a WebDataset (tars whose members are samples: `0001.jpg`, `0001.cls`, `0001.json`), Parquet files with a column of
pictures, or a folder that Hugging Face's `datasets` saved. Each shard is read through once and gets an index, which says where
each picture lies, what its header says and what is known of it. From then on a picture is a range of bytes, so samples are
taken in any order, and by any number of processes, as they are from files.

A picture in shards has a path like any other: `/data/train-{000..003}.tar!/cat/0001.jpg`. What comes before `!` is the source
as the user named it, so messages say where a picture is.
"""

from asterism.shards.detecting import absolute as absolute
from asterism.shards.detecting import exists as exists
from asterism.shards.detecting import is_shards as is_shards
from asterism.shards.opened import Shards as Shards
from asterism.shards.opened import content_of as content_of
from asterism.shards.opened import headers_of as headers_of
from asterism.shards.opened import sample_of as sample_of
from asterism.shards.opened import size_of as size_of
