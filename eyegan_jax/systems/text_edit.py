"""Editing a picture by a sentence: SIMGAN (Yu et al., ICIP 2019), reconstructed, with its forerunner as a setting.

The paper's body has no public copy and no code. Networks: :mod:`eyegan_jax.networks.editor`,
:mod:`~eyegan_jax.networks.text_critic`, :mod:`~eyegan_jax.networks.text_encoder`. With the simulator's true edited
pictures there is a loss that the original could not have; its weight may be 0.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from eyegan_jax import losses
from eyegan_jax.data.captioned import CAPTIONED, read_vocabulary
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float
from eyegan_jax.layers import keys as random_keys
from eyegan_jax.layers import spectral
from eyegan_jax.layers.detail import Change, move
from eyegan_jax.networks.editor import Editor, shrink
from eyegan_jax.networks.text_critic import TextCritic, Verdict
from eyegan_jax.networks.text_encoder import ImageEmbedding, TextEncoder, mean_of_words
from eyegan_jax.simulator.caption_tokens import SIZES, TOKENISER
from eyegan_jax.systems.base import (
    AXIS,
    Batch,
    Metrics,
    Phase,
    global_positions,
    mean_over_devices,
    of_the_size,
    sample_keys,
    value_and_mean_gradient,
    vary,
)
from eyegan_jax.systems.optimisers import build_optimiser
from eyegan_jax.tokeniser import Tokeniser

PARSER = nn.Dense(int((SIZES + 1).sum()))
"""Finds in a sentence's vector what it states, see :func:`eyegan_jax.losses.stated_bins`; of use in training alone."""


class TextEditState(flax.struct.PyTreeNode):
    """Arrays only.

    painter, critic: ``{"text", "network"}``, the painter's with a ``"parser"`` where ``weights.stated``: each has a
        text encoder of its own, which starts as the pre-trained one.
        ``critic["network"]`` and ``spectral`` hold one tree per output size, from coarse to fine.
    average: moving average of ``painter``, what is used after training.
    embedding: ``{"text", "network"}``: the text encoder and the image side of the pre-training.
    """

    step: jax.Array
    painter: Any
    average: Any
    critic: Any
    spectral: Any
    embedding: Any
    painter_optimiser: Any
    critic_optimiser: Any
    embedding_optimiser: Any


@dataclass(frozen=True)
class Weights:
    """Weights of the losses; one of weight 0 is not computed.

    Of the critic: ``real`` (patches of pictures and of edits), ``match`` and ``wrong`` (a picture with its own and with
    a wrong sentence), ``relevant`` (an edit with its sentence counts as no match, Dong et al.). Of the painter:
    ``adversarial``, ``conditional``, ``kl``, ``reconstruction`` (L1 under a sentence that describes the picture as it
    is), ``paired`` (L1 to the true edit), ``changed`` (the same over the pixels that the edit changes), ``motion`` (of
    the flow to where the eyeball's points really were: painting hides an iris sooner than a flow finds it), ``stated``
    (of what a linear parser finds in the sentence's vector: whether it was heard, learnt long before it is painted).
    """

    real: float
    match: float
    wrong: float
    relevant: float
    adversarial: float
    conditional: float
    kl: float
    reconstruction: float
    paired: float
    changed: float
    motion: float
    stated: float

    @property
    def criticise(self) -> bool:
        return bool(self.adversarial or self.conditional)


@dataclass(frozen=True)
class TextEdit:
    """Networks, loss weights and schedule of one run; immutable. See ``configs/text_edit.py`` for every field.

    The stream "edits" has ``image [H, W, C]`` and sentences as tokens ``[L]``: ``text`` says what is wanted, ``own``
    what the picture shows, ``wrong`` what it does not; with ``weights.paired`` or ``changed`` also ``target_image``,
    the true edit, with ``weights.motion`` ``motion [H, W, 3]`` from it to the picture, and with ``weights.stated``
    ``text_bins [A]``, what ``text`` states.
    """

    text: TextEncoder
    generator: Editor
    critic: TextCritic
    image: ImageEmbedding
    painter_optimiser: optax.GradientTransformation
    critic_optimiser: optax.GradientTransformation
    embedding_optimiser: optax.GradientTransformation
    weights: Weights
    margin: float
    frozen_text: bool
    averaging: float
    embedding_steps: int
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        embed = Phase("embedding", self.embedding_steps, self.embedding_step, {"edits": 1})
        return (embed, Phase("adversarial", self.steps, self.adversarial_step, {"edits": 1}))

    def init(self, key: jax.Array, batch: Batch, devices: int) -> TextEditState:
        """``batch`` gives the image size and the length of the sentences."""
        del devices
        edits = {name: value[:1, 0] for name, value in batch["edits"].items()}
        image, key = to_float(edits["image"]), random_keys.compact(key)
        keys = [jax.random.fold_in(key, i) for i in range(4)]
        text = self.text.init(keys[0], edits["own"])["params"]
        read = self.text.apply({"params": text}, edits["own"])
        network = self.generator.init(keys[1], image, *read)["params"]
        scales = [
            self.critic.init(jax.random.fold_in(keys[2], i), shrunk, *read)
            for i, shrunk in enumerate(self._sizes(image))
        ]
        embedding = {"text": text, "network": self.image.init(keys[3], image)["params"]}
        painter = {"text": text, "network": network}
        if self.weights.stated:
            blank = jnp.zeros((1, self.generator.code))
            painter["parser"] = PARSER.init(jax.random.fold_in(key, 4), blank)["params"]
        critic = {"text": text, "network": [scale["params"] for scale in scales]}
        return TextEditState(
            step=jnp.zeros((), jnp.int32),
            painter=painter,
            average=jax.tree.map(jnp.copy, painter),
            critic=critic,
            spectral=[scale["spectral"] for scale in scales],
            embedding=embedding,
            painter_optimiser=self.painter_optimiser.init(painter),
            critic_optimiser=self.critic_optimiser.init(critic),
            embedding_optimiser=self.embedding_optimiser.init(embedding),
        )

    def start_from(self, state: TextEditState, trained: Mapping[str, Any]) -> TextEditState:
        """``state`` with a trained painter, ``{"painter": averaged variables}``; the critic reads as it does.

        Optimisers and the critic start afresh. Raises UserError for a painter of another size.
        """
        painter = of_the_size("config.start.painter", "painter", state.average, trained["painter"])
        shared = {"text": painter["text"]}
        state = state.replace(
            painter=painter, average=painter, critic=state.critic | shared, embedding=state.embedding | shared
        )
        # A step gives every array away, so none may be there twice.
        return jax.tree.map(jnp.copy, state)

    def sharding(self, state: TextEditState) -> TextEditState:
        """Everything is replicated."""
        return jax.tree.map(lambda _: False, state)

    def _sizes(self, images: jax.Array) -> list[jax.Array]:
        """The images at every output size, from coarse to fine."""
        return [shrink(images, i) for i in reversed(range(self.generator.outputs))]

    def _read(self, text: Any, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        if self.frozen_text:
            text = jax.lax.stop_gradient(text)
        words: Any = self.text.apply({"params": text}, tokens)
        return words

    def embedding_step(self, state: TextEditState, batch: Batch, key: jax.Array) -> tuple[TextEditState, Metrics]:
        """One update of the visual-semantic embedding. All networks go on sharing the text encoder that results."""
        del key
        edits = {name: batch["edits"][name][:, 0] for name in ("image", "own", "wrong")}
        image = to_float(edits["image"])

        def loss(params):
            v = self.image.apply({"params": params["network"]}, image)
            t, wrong = (
                mean_of_words(*self.text.apply({"params": params["text"]}, edits[name])) for name in ("own", "wrong")
            )
            all_v, all_t = (jax.lax.all_gather(x, AXIS, tiled=True) for x in (v, t))
            value = losses.visual_semantic(v, t, wrong, all_v, all_t, global_positions(len(v)), self.margin)

            def cosine(x):
                return jnp.sum(v * x, -1) / (jnp.linalg.norm(v, axis=-1) * jnp.linalg.norm(x, axis=-1) + 1e-6)

            return value, {"accuracy/own_over_wrong": jnp.mean(cosine(t) > cosine(wrong))}

        (value, parts), gradient = value_and_mean_gradient(loss, state.embedding)
        updates, optimiser = self.embedding_optimiser.update(gradient, state.embedding_optimiser, state.embedding)
        embedding = optax.apply_updates(state.embedding, updates)
        shared = {"text": embedding["text"]}
        state = state.replace(
            embedding=embedding,
            embedding_optimiser=optimiser,
            painter=state.painter | shared,
            average=state.average | shared,
            critic=state.critic | shared,
        )
        return state, mean_over_devices(parts) | {
            "loss/embedding": value,
            "gradient/embedding": optax.tree.norm(gradient),
        }

    def adversarial_step(self, state: TextEditState, batch: Batch, key: jax.Array) -> tuple[TextEditState, Metrics]:
        """One update of the critics on fresh edits, then one of the painter against the new critics.

        Both see the same edits, which depend on the painter alone: one forward pass serves both.
        """
        edits = {name: value[:, 0] for name, value in batch["edits"].items()}
        source = to_float(edits["image"])
        count = len(source)
        # What the picture shows already is asked for beside what is wanted, in one pass of the generator: two sentences
        # for one picture teach the painter to listen. A share of the batch alone (an eighth, a quarter) did not.
        asked = ["text"] + ["own"] * bool(self.weights.reconstruction)
        noise = jax.vmap(lambda k: jax.random.normal(k, (len(asked), self.generator.code)))(sample_keys(key, count))

        def forward(painter):
            words = self._read(painter["text"], jnp.concatenate([edits[name] for name in asked]))
            made: tuple[Any, Any, Any] = self.generator.apply(
                {"params": painter["network"]},
                jnp.concatenate([source] * len(asked)),
                *words,
                jnp.swapaxes(noise, 0, 1).reshape(-1, self.generator.code),
            )
            found = PARSER.apply({"params": painter["parser"]}, made[1][0]) if self.weights.stated else None
            return *made, found

        (images, gaussian, flow, found), pullback = jax.vjp(forward, vary(state.painter))
        metrics: Metrics = {}
        if self.weights.criticise:
            edited = [jax.lax.stop_gradient(image[:count]) for image in images]
            state, metrics = self._update_critic(state, edited, source, edits)

        def loss(outputs):
            parts = self._painter_losses(state, outputs, source, edits)
            return sum(getattr(self.weights, name) * value for name, value in parts.items()), parts

        (value, parts), cotangent = jax.value_and_grad(loss, has_aux=True)((images, gaussian, flow, found))
        gradient = mean_over_devices(pullback(cotangent)[0])
        updates, optimiser = self.painter_optimiser.update(gradient, state.painter_optimiser, state.painter)
        painter = optax.apply_updates(state.painter, updates)
        metrics |= mean_over_devices({f"loss/{name}": part for name, part in parts.items()} | {"loss/painter": value})
        metrics["gradient/painter"] = optax.tree.norm(gradient)
        average = optax.incremental_update(painter, state.average, 1.0 - self.averaging)
        return state.replace(painter=painter, average=average, painter_optimiser=optimiser), metrics

    def _judge(self, critic: Any, state: TextEditState, images: list[jax.Array], words: Any) -> list[Verdict]:
        """The verdict at every output size."""
        parts = zip(critic["network"], state.spectral, images, strict=True)
        verdicts: Any = [self.critic.apply({"params": p, "spectral": s}, x, *words) for p, s, x in parts]
        return verdicts

    def _update_critic(self, state: TextEditState, edited, source, edits) -> tuple[TextEditState, Metrics]:
        """One descent of all critics: pictures with their own and with a wrong sentence, edits with what was asked."""
        real, w = self._sizes(source), self.weights
        images = [jnp.concatenate([r, r, e]) for r, e in zip(real, edited, strict=True)]
        tokens = jnp.concatenate([edits["own"], edits["wrong"], edits["text"]])

        def loss(critic):
            total, parts = jnp.zeros(()), []
            verdicts = self._judge(critic, state, images, self._read(critic["text"], tokens))
            for verdict in verdicts:
                fits, (_, not_wrong, not_edit) = (jnp.split(x, 3) for x in (verdict.fits, verdict.fits_not))
                total -= w.match * jnp.mean(fits[0]) + w.wrong * jnp.mean(not_wrong)
                if w.relevant:
                    total -= w.relevant * jnp.mean(not_edit)
                if verdict.patches is not None:
                    picture, _, edit = jnp.split(verdict.patches, 3)
                    total += w.real * (losses.logistic(picture, True) + losses.logistic(edit, False))
                parts.append(
                    {f"score/{n}": jnp.mean(jnp.exp(f)) for n, f in zip(("own", "wrong", "edit"), fits, strict=True)}
                )
            scores = jax.tree.map(lambda *values: sum(values) / len(values), *parts)
            return total / len(verdicts), scores

        (value, scores), gradient = value_and_mean_gradient(loss, state.critic)
        updates, optimiser = self.critic_optimiser.update(gradient, state.critic_optimiser, state.critic)
        critic = optax.apply_updates(state.critic, updates)
        advanced = [spectral.advance(p, s) for p, s in zip(critic["network"], state.spectral, strict=True)]
        metrics = mean_over_devices(scores) | {"loss/critic": value, "gradient/critic": optax.tree.norm(gradient)}
        return state.replace(critic=critic, critic_optimiser=optimiser, spectral=advanced), metrics

    def _painter_losses(self, state: TextEditState, outputs, source, edits) -> Metrics:
        """Every loss of non-zero weight, by its name in :class:`Weights`; means over the output sizes."""
        (images, gaussian, flow, found), w = outputs, self.weights
        parts: Metrics = {}
        count = len(source)
        edited = [image[:count] for image in images]

        def distance(made, wanted):
            pairs = zip(made, self._sizes(wanted), strict=True)
            return mean(jnp.mean(jnp.abs(m - x)) for m, x in pairs)

        if w.criticise:
            verdicts = self._judge(state.critic, state, edited, self._read(state.critic["text"], edits["text"]))
            if w.conditional:
                parts["conditional"] = -mean(jnp.mean(v.fits) for v in verdicts)
            patches = [v.patches for v in verdicts if v.patches is not None]
            if w.adversarial and patches:
                parts["adversarial"] = mean(losses.logistic(p, True) for p in patches)
        if w.kl:
            parts["kl"] = losses.gaussian_kl(*gaussian)
        if w.reconstruction:
            parts["reconstruction"] = distance([image[count:] for image in images], source)
        if w.paired:
            parts["paired"] = distance(edited, to_float(edits["target_image"]))
        if w.changed:
            wanted = self._sizes(to_float(edits["target_image"]))
            parts["changed"] = mean(map(losses.changed_l1, edited, wanted, self._sizes(source)))
        if w.stated:
            parts["stated"] = losses.stated_bins(found[:count], edits["text_bins"], SIZES)
        if w.motion:
            parts["motion"] = losses.motion_error(flow[:count], edits["motion"].astype(jnp.float32))
        return parts

    def _generate(self, variables: Any, images: jax.Array, tokens: jax.Array) -> Any:
        words = self.text.apply({"params": variables["text"]}, tokens)
        return self.generator.apply({"params": variables["network"]}, images, *words)

    def edit_all(self, variables: Any, images: jax.Array, tokens: jax.Array) -> list[jax.Array]:
        """Edited images at every output size, from coarse to fine; see :meth:`edit`."""
        return self._generate(variables, images, tokens)[0]

    def edit(self, variables: Any, images: jax.Array, tokens: jax.Array) -> jax.Array:
        """Images ``[B, H, W, C]`` in [-1, 1] as the sentences ``tokens [B, L]`` ask: what a user calls after training.

        variables: ``state.average``. Any height and width that are multiples of 2^scales. The sentence's vector is the
        mean of its distribution: no randomness.
        """
        return jnp.clip(self.edit_all(variables, images, tokens)[-1], -1.0, 1.0)

    def change(self, variables: Any, images: jax.Array, tokens: jax.Array) -> Change:
        """What :meth:`edit` does to images of the model's size, ready for :func:`~eyegan_jax.layers.detail.changed`."""
        edited, _, pixels = self._generate(variables, images, tokens)
        if pixels is None:
            pixels = jnp.zeros((*images.shape[:3], 2))
        flow, share = pixels / jnp.array(images.shape[1:3]), jnp.ones((*images.shape[:3], 1))
        return Change(flow, share, move(images, flow, share), edited[-1])

    def pictures(self, state: TextEditState, batch: Batch) -> jax.Array:
        """Rows of (picture, under its own description, edited[, the true edit]), ``[3 or 4, n, H, W, C]``."""
        edits: Mapping[str, jax.Array] = {name: value[:, 0] for name, value in batch["edits"].items()}
        source = to_float(edits["image"])
        rows = [source, *(self.edit(state.average, source, edits[name]) for name in ("own", "text"))]
        if "target_image" in edits:
            rows.append(to_float(edits["target_image"]))
        return jnp.stack(rows)


def mean(values: Iterable[jax.Array]) -> jax.Array:
    return jnp.mean(jnp.stack(list(values)))


def build_tokeniser(config: ml_collections.ConfigDict) -> Tokeniser:
    """The tokeniser of a run: that of the simulator's grammar, or that of a captioned set's own words."""
    edits = config.data.edits
    return read_vocabulary(edits.vocabulary, edits.length) if edits.kind in CAPTIONED else TOKENISER


def build(config: ml_collections.ConfigDict) -> TextEdit:
    """The system that ``config`` describes; raises UserError where settings contradict each other."""
    c, dtype = config.text_edit, jnp.dtype(config.dtype)
    generator = Editor(**c.generator, dtype=dtype)
    height, width, channels = config.image_shape
    if height % 2**generator.scales or width % 2**generator.scales:
        raise UserError(
            f"config.image_shape: expected multiples of {2**generator.scales} (text_edit.generator.scales = "
            f"{generator.scales}), found {height}x{width}"
        )
    if not 1 <= generator.outputs <= generator.scales:
        raise UserError(
            f"config.text_edit.generator.outputs: expected 1 to scales = {generator.scales}, found {generator.outputs}"
        )
    for name in ("paired", "changed", "motion", "stated"):
        if c.loss.get(name) and config.data.edits.kind in CAPTIONED:
            raise UserError(
                f"config.text_edit.loss.{name}: expected 0 for {config.data.edits.kind}, which knows no true edits, "
                f"found {c.loss[name]}"
            )
    if c.loss.get("motion") and not generator.moves:
        raise UserError(
            f"config.text_edit.loss.motion: expected 0 without text_edit.generator.moves, found {c.loss.motion}"
        )
    if config.get("start", {}).get("painter") and c.embedding_steps:
        raise UserError(
            "config.text_edit.embedding_steps: expected 0 with config.start.painter, whose text encoder is trained "
            f"already, found {c.embedding_steps}"
        )
    if channels != 3:
        raise UserError(f"config.image_shape: expected 3 channels, since sentences name colours, found {channels}")
    return TextEdit(
        text=TextEncoder(build_tokeniser(config).size, c.text.embedding, c.text.features),
        generator=generator,
        critic=TextCritic(**c.critic, dtype=dtype),
        image=ImageEmbedding(c.text.features, **c.image, dtype=dtype),
        painter_optimiser=build_optimiser(c.painter_optimiser),
        critic_optimiser=build_optimiser(c.critic_optimiser),
        embedding_optimiser=build_optimiser(c.embedding_optimiser),
        weights=Weights(**{name: c.loss.get(name, 0.0) for name in Weights.__dataclass_fields__}),
        margin=c.margin,
        frozen_text=c.frozen_text,
        averaging=c.averaging,
        embedding_steps=c.embedding_steps,
        steps=config.steps,
    )
