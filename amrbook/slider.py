"""A slider over pictures drawn beforehand: one self-contained, repeatable piece of HTML, for the page and for Jupyter."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

__all__ = ["Slider", "slider"]


class Slider:
    """Pre-drawn pictures behind an ``<input type="range">``; made by :func:`slider`, shown by Jupyter."""

    def __init__(self, frames: Sequence[bytes], label: str, values: Sequence[Any], alt: Sequence[str]) -> None:
        self.frames, self.label, self.values, self.alt = list(frames), label, [str(v) for v in values], list(alt)

    def __repr__(self) -> str:
        return f"Slider({self.label}: {', '.join(self.values)})"

    def _repr_html_(self) -> str:
        """One self-contained piece of HTML: no load from anywhere, no id that differs from run to run."""
        esc = lambda text: html.escape(text, quote=True)  # noqa: E731
        sources = ["data:image/png;base64," + base64.b64encode(f).decode() for f in self.frames]
        seed = "\0".join([self.label, *self.values, *self.alt, *sources])
        name = "amr-" + hashlib.sha256(seed.encode()).hexdigest()[:12]
        captions = [f"{self.label} {value}: {text}" for value, text in zip(self.values, self.alt, strict=True)]
        last = len(sources) - 1
        # Each step is a picture of its own that is shown or hidden: nothing is drawn again, nothing fetched.
        steps = "".join(
            f'<figure data-step="{n}" style="margin:0"{"" if n == 0 else " hidden"}>'
            f'<img src="{src}" alt="{esc(text)}" style="max-width:100%;height:auto;background:#fff;border-radius:4px">'
            "</figure>"
            for n, (src, text) in enumerate(zip(sources, self.alt, strict=True))
        )
        # Without JavaScript, and on paper, the first and the last picture tell the story.
        ends = f"<style>#{name} [data-step='0'],#{name} [data-step='{last}']{{display:block!important}}"
        still = f"{ends}#{name} .amr-control{{display:none}}</style>"
        both = "".join(f"<p>{esc(captions[n])}</p>" for n in dict.fromkeys((0, last)))
        texts = "".join(f"<span hidden>{esc(text)}</span>" for text in captions)
        words = "".join(f"<span hidden>{esc(text)}</span>" for text in self.values)
        return (
            f'<div id="{name}" role="group" aria-label="{esc(self.label)}" style="color:inherit;max-width:100%">'
            f"<style>#{name} [hidden]{{display:none}}@media print{{{ends.removeprefix('<style>')}"
            f"#{name} .amr-control{{display:none}}}}</style>"
            f"{steps}"
            '<div class="amr-control">'
            f'<label for="{name}-at" style="display:block">{esc(self.label)}: '
            f"<output>{esc(self.values[0])}</output></label>"
            f'<input id="{name}-at" type="range" min="0" max="{last}" step="1" value="0" '
            f'aria-valuetext="{esc(self.values[0])}" aria-describedby="{name}-says" style="width:100%;max-width:32em">'
            f'<p id="{name}-says" aria-live="polite" style="margin:.3em 0">{esc(captions[0])}</p>'
            f'<div class="amr-captions" hidden>{texts}</div><div class="amr-values" hidden>{words}</div>'
            "</div>"
            f"<noscript>{still}{both}</noscript>"
            "<script>(function(){"
            f'document.querySelectorAll("#{name}").forEach(function(box){{'
            'var at=box.querySelector("input"),say=box.querySelector("[aria-live]"),out=box.querySelector("output"),'
            'steps=box.querySelectorAll("[data-step]"),texts=box.querySelectorAll(".amr-captions span"),'
            'words=box.querySelectorAll(".amr-values span");'
            'at.addEventListener("input",function(){var n=Number(at.value);'
            "steps.forEach(function(s,i){s.hidden=i!==n});say.textContent=texts[n].textContent;"
            'out.textContent=words[n].textContent;at.setAttribute("aria-valuetext",words[n].textContent)})'
            "})})()</script></div>"
        )


def slider(
    frames: Sequence[Figure | bytes], label: str, values: Sequence[Any], alt: Sequence[str], dpi: int = 90
) -> Slider:
    """Let a reader move through pictures drawn beforehand: works offline, in Colab, by keyboard and on paper.

    Parameters
    ----------
    frames : Figures (closed after use) or PNG bytes
    label : str
        What is being moved, e.g. ``"ε"``.
    values : what the label is at each frame
    alt : str for each frame
        What it shows, for those who do not see it; also the caption.
    dpi : int
        Of frames given as figures; keep the whole below a megabyte.

    Raises
    ------
    ValueError
        No frame, lengths that do not agree, an empty text, bytes that are no PNG.
    """
    if not len(frames) or not len(frames) == len(values) == len(alt):
        raise ValueError(f"frames ({len(frames)}), values ({len(values)}) and alt ({len(alt)}) must be as long")
    if not label.strip() or not all(text.strip() for text in alt):
        raise ValueError("label and every alt must say something: some readers have nothing else")
    pictures = []
    for frame in frames:
        if isinstance(frame, Figure):
            buffer = io.BytesIO()
            frame.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})  # the same bytes everywhere
            plt.close(frame)
            frame = buffer.getvalue()
        if not frame.startswith(b"\x89PNG"):
            raise ValueError("frames must be matplotlib figures or the bytes of PNG files")
        pictures.append(frame)
    return Slider(pictures, label, values, alt)
