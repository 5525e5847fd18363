"""The published training steps of StarGAN and StarGAN v2, transcribed plainly in our own words: what we compare with.

Everything is as an unhurried reader of the papers and their code would write it today: eager, float32, pictures stored
plane by plane, fakes made with a graph that is thrown away, real and fake through the discriminator one after the other,
the penalty by differentiating a gradient, every branch and head computed and one selected, losses read back after each
update, PyTorch's default Adam. Parameter names and shapes are the published ones, which are asterism's too, so both
sides start from the same weights.

Shapes: as in `asterism.recipes.stargan` and `asterism.recipes.stargan_v2`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.data.batch import Batch
from bench.published_networks import (
    StarGANDiscriminator,
    StarGANGenerator,
    StarGANv2Discriminator,
    StarGANv2Generator,
    StarGANv2StyleEncoder,
    StyleMapping,
)


class Published:
    """What both systems have in common: networks, their optimisers, and updates by name.

    Attributes:
        networks: by name.
        optimizers: by network.
        updates: name -> function of a prepared batch that makes one optimisation step and returns the losses read back.
    """

    networks: dict[str, nn.Module]
    updates: dict[str, Callable[[Batch], dict[str, float]]]

    def start(self, weights: Mapping[str, Tensor] | None, rates: Mapping[str, float], **adam: object) -> None:
        """Take a recipe's weights, if any, and make one Adam per network, with PyTorch's default implementation."""
        for name, network in self.networks.items() if weights is not None else ():
            own = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
            missing, unexpected = network.load_state_dict(own, strict=False)
            lacking = [k for k in missing if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))]
            assert not unexpected and not lacking, (name, unexpected, lacking)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=rates[name], **adam)  # type: ignore[arg-type]
            for name, network in self.networks.items()
        }

    def to(self, device: torch.device) -> None:
        """Move the networks; before the first step."""
        for network in self.networks.values():
            network.to(device)

    def descend(self, loss: Tensor, trained: tuple[str, ...]) -> None:
        """Clear every gradient, differentiate the loss, step the trained networks."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for name in trained:
            self.optimizers[name].step()

    def iteration(self, batch: Batch) -> None:
        """One pass over all the updates in the published order."""
        raise NotImplementedError


class PublishedStarGAN(Published):
    """StarGAN's two updates over one dataset of binary labels; the generator's at every fifth iteration."""

    draws: type[nn.Module] = StarGANGenerator

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None,
        *,
        size: int,
        labels: int,
        width: int,
        blocks: int,
        critic_width: int,
        layers: int,
        critic_steps: int = 5,
        lr: float = 1e-4,
        device: torch.device,
    ) -> None:
        self.generator = self.draws(3, labels, width, blocks)
        self.discriminator = StarGANDiscriminator(3, labels, size, critic_width, layers)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.updates = {"discriminator": self.update_discriminator, "generator": self.update_generator}
        self.critic_steps = critic_steps
        self.to(device)
        self.start(weights, dict.fromkeys(self.networks, lr), betas=(0.5, 0.999))

    def update_discriminator(self, batch: Batch) -> dict[str, float]:
        """Critic of real and fake, classes of the real, penalty by double backward."""
        patches, classes = self.discriminator(batch.x)
        real, label_loss = -patches.mean(), label_cross_entropy(classes, batch.labels)
        x_fake = self.generator(batch.x, batch.c_trg)
        fake = self.discriminator(x_fake.detach())[0].mean()
        x_hat = (batch.alpha * batch.x + (1 - batch.alpha) * x_fake).detach().requires_grad_()
        patches, _ = self.discriminator(x_hat)
        (slope,) = torch.autograd.grad(patches, x_hat, torch.ones_like(patches), retain_graph=True, create_graph=True)
        penalty = ((slope.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()
        self.descend(real + fake + label_loss + 10 * penalty, ("discriminator",))
        return {"real": real.item(), "fake": fake.item(), "class": label_loss.item(), "penalty": penalty.item()}

    def update_generator(self, batch: Batch) -> dict[str, float]:
        """Fool the critic, carry the target's labels, come back to the source."""
        x_fake = self.generator(batch.x, batch.c_trg)
        patches, classes = self.discriminator(x_fake)
        fake, label_loss = -patches.mean(), label_cross_entropy(classes, batch.labels_trg)
        reconstruction = (batch.x - self.generator(x_fake, batch.c_src)).abs().mean()
        self.descend(fake + 10 * reconstruction + label_loss, ("generator",))
        return {"fake": fake.item(), "class": label_loss.item(), "reconstruction": reconstruction.item()}

    def iteration(self, batch: Batch) -> None:
        """One cycle: five updates of the discriminator, one of the generator."""
        for _ in range(self.critic_steps):
            self.update_discriminator(batch)
        self.update_generator(batch)

    def translate(self, x: Tensor, c: Tensor) -> Tensor:
        """G(x, c), as published in training mode (the running statistics must not be used), clamped."""
        with torch.no_grad():
            return self.generator(x, c).clamp(-1, 1)


def label_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy summed over labels [N, L] and batch, divided by N."""
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(logits)


class PublishedStarGANv2(Published):
    """StarGAN v2's four updates and the running average; no high-pass skips, R1 in every update of the discriminator."""

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None,
        *,
        size: int,
        domains: int,
        style: int,
        latent: int,
        hidden: int,
        capacity: int,
        widest: int,
        rates: Mapping[str, float],
        device: torch.device,
    ) -> None:
        self.generator = StarGANv2Generator(size, style, capacity, widest)
        self.mapping_network = StyleMapping(domains, latent, style, hidden)
        self.style_encoder = StarGANv2StyleEncoder(size, domains, style, capacity, widest)
        self.discriminator = StarGANv2Discriminator(size, domains, capacity, widest)
        names = ("generator", "mapping_network", "style_encoder", "discriminator")
        self.networks = {name: getattr(self, name) for name in names}
        self.updates = {
            "discriminator_latent": lambda batch: self.update_discriminator(batch, latent=True),
            "discriminator_reference": lambda batch: self.update_discriminator(batch, latent=False),
            "generator_latent": lambda batch: self.update_generator(batch, latent=True),
            "generator_reference": lambda batch: self.update_generator(batch, latent=False),
        }
        self.to(device)
        self.start(weights, rates, betas=(0.0, 0.99), weight_decay=1e-4)
        averaged = names[:3]
        self.average = [(p.detach().clone(), p) for n in averaged for p in self.networks[n].parameters()]

    def update_discriminator(self, batch: Batch, latent: bool) -> dict[str, float]:
        """Real and fake by cross-entropy, R1 by double backward."""
        x = batch.x.requires_grad_()
        logits = self.discriminator(x, batch.y_src)
        real = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        (slope,) = torch.autograd.grad(logits.sum(), x, retain_graph=True, create_graph=True)
        penalty = 0.5 * slope.square().flatten(1).sum(1).mean()
        with torch.no_grad():
            s = self.mapping_network(batch.z_trg, batch.y_trg) if latent else self.style_encoder(batch.x_ref, batch.y_trg)
            x_fake = self.generator(x, s)
        logits = self.discriminator(x_fake, batch.y_trg)
        fake = F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
        self.descend(real + fake + penalty, ("discriminator",))
        return {"real": real.item(), "fake": fake.item(), "penalty": penalty.item()}

    def update_generator(self, batch: Batch, latent: bool) -> dict[str, float]:
        """Fool the discriminator, keep the style, differ between styles, come back to the source."""
        x = batch.x.requires_grad_()  # Left so by the update of the discriminator.
        if latent:
            s, s2 = self.mapping_network(batch.z_trg, batch.y_trg), self.mapping_network(batch.z_trg2, batch.y_trg)
        else:
            s, s2 = self.style_encoder(batch.x_ref, batch.y_trg), self.style_encoder(batch.x_ref2, batch.y_trg)
        x_fake = self.generator(x, s)
        logits = self.discriminator(x_fake, batch.y_trg)
        adversarial = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        style = (self.style_encoder(x_fake, batch.y_trg) - s).abs().mean()
        diversity = (x_fake - self.generator(x, s2).detach()).abs().mean()
        cycle = (self.generator(x_fake, self.style_encoder(x, batch.y_src)) - x).abs().mean()
        trained = ("generator", "mapping_network", "style_encoder") if latent else ("generator",)
        self.descend(adversarial + style - diversity + cycle, trained)
        values = {"adversarial": adversarial, "style": style, "diversity": diversity, "cycle": cycle}
        return {name: value.item() for name, value in values.items()}

    def iteration(self, batch: Batch) -> None:
        """The four updates, then the average of every parameter of G, F and E."""
        for update in self.updates.values():
            update(batch)
        with torch.no_grad():
            for mean, parameter in self.average:
                mean.copy_(torch.lerp(parameter, mean, 0.999))
