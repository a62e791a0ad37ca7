"""TensorFlow Datasets builders: any of our sets, prepared once into sharded files that read fast and in any
order.

    prepare("mpiigaze", "~/MPIIGaze", "~/tensorflow_datasets")          # or
    eyegan_jax.data.tfds_builders.MPIIGaze
    open_set({"kind": "tfds", "dir": "~/tensorflow_datasets/eyegan_mpiigaze/default/1.0.0"})

Importing this module imports tensorflow_datasets; nothing else in the package does. Preparing needs
TensorFlow.
"""

import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from eyegan_jax.data.catalog import open_set
from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.folder import existing_folder
from eyegan_jax.data.pipeline import in_channels
from eyegan_jax.data.sets import summarise_bad
from eyegan_jax.errors import UserError

log = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True)
class EyesConfig(tfds.core.BuilderConfig):
    """Which fields a prepared set has, and how its raw files are opened.

    fields: beside ``image`` and ``name``; examples that lack one are left out. The builder's own by default.
    channels: 1 or 3; 0 for the builder's own.
    options: for the set's class, as in :func:`eyegan_jax.data.catalog.open_set`.
    """

    fields: tuple[str, ...] | None = None
    channels: int = 0
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class EyesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """What all builders share; each says its kind, fields, channels and splits."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [EyesConfig(name="default", description="The fields that the data set offers.")]

    kind: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]
    channels: ClassVar[int] = 1
    # Split name -> options that open it.
    splits: ClassVar[Mapping[str, Mapping[str, Any]]] = {"train": {}}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            disable_shuffling=True,  # The order of names stays.
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, self._channels), encoding_format="png"),
                    "name": tfds.features.Text(),
                    **{field: _feature(field) for field in self._fields},
                }
            ),
            description=f"{(self.__doc__ or '').splitlines()[0]} Gaze: unit vector, x right, y down, z away.",
        )

    @property
    def _fields(self) -> tuple[str, ...]:
        return self.fields if self.builder_config.fields is None else tuple(self.builder_config.fields)

    @property
    def _channels(self) -> int:
        return self.builder_config.channels or self.channels

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        source, generators = Path(dl_manager.manual_dir), {}
        for split, options in self.splits.items():
            try:
                eyeset = open_set({"kind": self.kind, "dir": source, **options, **self.builder_config.options})
            except UserError:
                if len(self.splits) == 1:
                    raise
                continue  # A copy of the data set without this split.
            generators[split] = self._generate_examples(eyeset)
        if not generators:
            raise UserError(f"{source}: expected a {self.kind} data set, found none of its parts")
        return generators

    def _generate_examples(self, eyeset) -> Iterator[tuple[str, dict[str, Any]]]:
        bad = []
        for index in np.argsort(np.array(eyeset.names, dtype=object), kind="stable"):
            try:
                example = eyeset[int(index)]
                yield example["name"], self._record(example)
            except BadExample as problem:
                bad.append(problem)
        if bad:
            log.warning(summarise_bad(bad, len(eyeset)))

    def _record(self, example: Example) -> dict[str, Any]:
        if missing := [field for field in self._fields if field not in example]:
            raise BadExample(example["name"], f"has no {' and no '.join(missing)}")
        record: dict[str, Any] = {field: example[field] for field in self._fields}  # type: ignore[literal-required]
        if "mask" in record:
            record["mask"] = record["mask"][..., None]
        return record | {"name": example["name"], "image": in_channels(example["image"], self._channels)}


def _feature(field: str) -> tfds.features.FeatureConnector:
    if field == "mask":
        return tfds.features.Image(shape=(None, None, 1), encoding_format="png")
    if field == "subject":
        return tfds.features.Text()
    shapes = {"gaze": (3,), "head": (2,), "landmarks": (None, 2)}
    if field not in shapes:
        raise UserError(f"fields: expected any of {', '.join([*shapes, 'mask', 'subject'])}; found {field!r}")
    return tfds.features.Tensor(shape=shapes[field], dtype=np.float32)


class UnityEyes(EyesBuilder):
    """UnityEyes renders, cropped around the eye, with gaze and landmarks."""

    name = "eyegan_unityeyes"
    kind, fields, channels = "unityeyes", ("gaze", "landmarks"), 3
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put the folder with imgs/N.jpg and imgs/N.json of UnityEyes into manual_dir."


class MPIIGaze(EyesBuilder):
    """MPIIGaze's normalised eyes with gaze, head pose and subject."""

    name = "eyegan_mpiigaze"
    kind, fields = "mpiigaze", ("gaze", "head", "subject")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Unpack MPIIGaze.tar.gz and give its folder (with Data/Normalized) as manual_dir."


class Kaggle(EyesBuilder):
    """The synthetic part of Kaggle's eye-gaze pair: UnityEyes crops with gaze."""

    name = "eyegan_kaggle"
    kind, fields = "kaggle", ("gaze",)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Download 4quant/eye-gaze from Kaggle; manual_dir has gaze.h5 and real_gaze.h5."


class KaggleReal(EyesBuilder):
    """The real part of Kaggle's eye-gaze pair: MPIIGaze crops without labels."""

    name = "eyegan_kaggle_real"
    kind, fields = "kaggle", ()
    splits: ClassVar = {"train": {"part": "real"}}
    MANUAL_DOWNLOAD_INSTRUCTIONS = Kaggle.MANUAL_DOWNLOAD_INSTRUCTIONS


class Folder(EyesBuilder):
    """Any folder of eye images; which labels it has is the config's ``fields``."""

    name = "eyegan_folder"
    kind, fields = "folder", ()
    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir is the folder of images."


class OpenEDS(EyesBuilder):
    """OpenEDS 2019, semantic segmentation part: infrared eyes with masks and subject."""

    name = "eyegan_openeds"
    kind, fields = "openeds", ("mask", "subject")
    splits: ClassVar = {split: {"split": split} for split in ("train", "validation", "test")}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Given on request; manual_dir has Semantic_Segmentation_Dataset/ and the userID mapping files."
    )


class Meye(EyesBuilder):
    """MEYE: infrared eyes with pupil masks and subject."""

    name = "eyegan_meye"
    kind, fields = "meye", ("mask", "subject")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir has index.csv, images/ and pupil_masks/ of MEYE."


class Simulated(EyesBuilder):
    """What eyegan simulate wrote: eyes with masks, gaze, landmarks and subject."""

    name = "eyegan_simulated"
    kind, fields = "simulated", ("mask", "gaze", "landmarks", "subject")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir is the folder that eyegan simulate wrote."


BUILDERS = {
    builder.name.removeprefix("eyegan_"): builder
    for builder in (UnityEyes, MPIIGaze, Kaggle, KaggleReal, Folder, OpenEDS, Meye, Simulated)
}


def prepare(kind: str, source: str | Path, data_dir: str | Path, config: EyesConfig | None = None) -> Path:
    """Writes the set in ``source`` as a TFDS set below ``data_dir`` and returns the folder that holds it.

    Raises UserError for an unknown kind or an unusable source. What is prepared already is left alone.
    """
    if kind not in BUILDERS:
        raise UserError(f"kind: expected one of {', '.join(BUILDERS)}, found {kind!r}")
    from eyegan_jax.data.stream import import_tensorflow

    import_tensorflow()
    # Array records can be read in any order, which training needs; TFDS's default files cannot.
    builder = BUILDERS[kind](data_dir=Path(data_dir).expanduser(), config=config, file_format="array_record")
    download = tfds.download.DownloadConfig(manual_dir=existing_folder(source))
    builder.download_and_prepare(download_config=download)
    return Path(builder.data_dir)


class TFDSSet:
    """A set that :func:`prepare` (or ``tfds build --file_format=array_record``) wrote, read at random.

    folder: the version's folder, with ``features.json``. Raises UserError where there is none such.
    """

    def __init__(self, folder: str | Path, *, split: str = "train"):
        self.folder = existing_folder(folder)
        try:
            self._builder = tfds.builder_from_directory(self.folder)
        except Exception as error:  # TFDS reports a missing or odd folder in many types.
            reason = " ".join(str(error).split())[:120]
            raise UserError(f"{self.folder}: expected a prepared TFDS set, found none ({reason})") from None
        if split not in self._builder.info.splits:
            found = ", ".join(self._builder.info.splits)
            raise UserError(f"data.split: {self.folder} has {found}, not {split!r}")
        self._split = split
        try:
            self._records = self._builder.as_data_source(split)
        except NotImplementedError:
            raise UserError(f"{self.folder}: expected file format array_record, found another") from None

    @functools.cached_property
    def names(self) -> list[str]:
        return [_text(name) for name in self._column("name")]

    @functools.cached_property
    def subjects(self) -> list[str | None]:
        if "subject" not in self._builder.info.features:
            return [None] * len(self)
        return [_text(subject) for subject in self._column("subject")]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        record = dict(self._records[index])
        for field in ("name", "subject"):
            if field in record:
                record[field] = _text(record[field])
        if "mask" in record:
            record["mask"] = record["mask"][..., 0]
        return Example(**record)

    def _column(self, field: str) -> Iterator[Any]:
        pictures = {"image", "mask"} & set(self._builder.info.features)
        undecoded = {picture: tfds.decode.SkipDecoding() for picture in pictures}
        return (record[field] for record in self._builder.as_data_source(self._split, decoders=undecoded))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
