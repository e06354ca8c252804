"""SID in PyTorch as in hypertorch: a map built by automatic differentiation, called afresh at each step."""

import torch
import torch.nn.functional as F

BATCH = 64
torch.set_num_threads(1)


def mapped(w, features, target, strengths, map_step, draw):
    """`w - map_step * gradient` on a block, differentiable in `w` and the strengths."""
    rows, labels = features[draw : draw + BATCH], target[draw : draw + BATCH]
    loss = F.binary_cross_entropy_with_logits(rows @ w, labels) + 0.5 * torch.sum(strengths * w * w)
    return w - map_step * torch.autograd.grad(loss, w, create_graph=True)[0]


def lower_on(features, target, strengths, map_step, eta, drawn):
    w = torch.zeros(features.shape[1])
    for draw in drawn:
        w.requires_grad_(True)
        w = (w + eta * (mapped(w, features, target, strengths, map_step, draw) - w)).detach()
    return w


def linear_on(features, target, strengths, map_step, eta, drawn, w, grad_w):
    w = w.detach().requires_grad_(True)
    v = torch.zeros_like(grad_w)
    for draw in drawn:
        image = mapped(w, features, target, strengths, map_step, draw)
        v = v + eta * (torch.autograd.grad(image, w, grad_outputs=v)[0] + grad_w - v)
    return v


def sid(train, validation, strengths, map_step, eta, steps):
    """The hypergradient in the logarithms of the strengths."""
    draw = lambda: torch.randint(0, len(train[1]) - BATCH + 1, (steps,)).tolist()
    w = lower_on(*train, strengths, map_step, eta, draw()).requires_grad_(True)
    upper = F.binary_cross_entropy_with_logits(validation[0] @ w, validation[1])
    v = linear_on(*train, strengths, map_step, eta, draw(), w, torch.autograd.grad(upper, w)[0])
    return (-map_step * strengths * w * v).detach()
