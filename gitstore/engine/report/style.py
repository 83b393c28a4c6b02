"""How a report looks: one style sheet, for the screen in light and dark, and for paper."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Final

#: Every text colour here has a contrast of at least 4.5 with each background it stands on.
STYLE: Final = r"""
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f5f7f9; --line: #d5dbe1; --text: #1b232c; --faint: #566270;
  --link: #0b57a4; --old: #9a1c1c; --old-back: #fdeeee; --new: #14602f; --new-back: #e9f7ee;
  --hunk: #5b3f99; --hunk-back: #f2eefb; --good: #14602f; --bad: #9a1c1c; --warn: #7a4b00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12171d; --panel: #1b222b; --line: #36414d; --text: #e4e9ee; --faint: #a3afbb;
    --link: #8cbcf5; --old: #ffa8a3; --old-back: #3a1d20; --new: #8edca7; --new-back: #15301f;
    --hunk: #c7b3fa; --hunk-back: #271f3d; --good: #8edca7; --bad: #ffa8a3; --warn: #f0c26b;
  }
}
* { box-sizing: border-box; }
html { background: var(--page); color: var(--text); }
body {
  margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 74rem;
  font: 0.95rem/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { margin: 0 0 .25rem; font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
h3 { margin: 1.25rem 0 .4rem; font-size: 1rem; overflow-wrap: anywhere; }
h3 .faint { font-weight: 400; }
h4 { margin: 1rem 0 .3rem; font-size: .9rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px;
}
.faint, caption, td time { color: var(--faint); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { font-size: .87em; overflow-wrap: anywhere; }
pre {
  margin: 0; font-size: .82rem; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere;
  tab-size: 4;
}
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0 0; padding: 0; list-style: none; }
dl.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0 0;
}
dl.facts div { padding: .6rem .8rem; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; }
dl.facts dt { color: var(--faint); font-size: .8rem; }
dl.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; }
table { width: 100%; border-collapse: collapse; font-size: .88rem; }
caption { padding: .5rem .75rem; text-align: start; font-size: .82rem; }
th, td { padding: .45rem .75rem; text-align: start; vertical-align: top; border-top: 1px solid var(--line); }
thead th { background: var(--panel); font-size: .8rem; white-space: nowrap; }
tbody th { font-weight: 600; }
td.time, td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.what { min-width: 16rem; overflow-wrap: anywhere; }
td.names { min-width: 9rem; }
td.number code { white-space: nowrap; }
.mark { white-space: nowrap; }
.mark.good, .mark.bad, .mark.warn { font-weight: 600; }
.mark.good::before { content: "\2713\00a0"; } .mark.bad::before { content: "\2717\00a0"; }
.mark.warn::before { content: "!\00a0"; }
.mark.good { color: var(--good); } .mark.bad { color: var(--bad); } .mark.warn { color: var(--warn); }
article, details.change {
  margin: .75rem 0; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem;
}
article { padding: .25rem .9rem .8rem; }
article.turn { border-inline-start: .3rem solid var(--faint); }
article.turn.user { border-inline-start-color: var(--link); }
article.turn.assistant { border-inline-start-color: var(--good); }
details.change > summary { padding: .6rem .9rem; cursor: pointer; overflow-wrap: anywhere; }
details.change > div { padding: 0 .9rem .8rem; }
ul.fields { margin: .3rem 0; padding: 0; list-style: none; }
ul.fields > li { padding: .2rem 0; overflow-wrap: anywhere; }
.diff { margin-top: .3rem; border: 1px solid var(--line); border-radius: .35rem; background: var(--page); }
.diff span { display: block; padding: 0 .6rem; min-height: 1.45em; }
ins, del { padding: 0 .2rem; border-radius: .2rem; font-family: ui-monospace, monospace; font-size: .85em; }
ins, .diff .new { color: var(--new); background: var(--new-back); }
del, .diff .old { color: var(--old); background: var(--old-back); }
.diff .hunk { color: var(--hunk); background: var(--hunk-back); }
@media print {
  :root {
    color-scheme: light;
    --page: #ffffff; --panel: #ffffff; --line: #999999; --text: #000000; --faint: #444444;
    --link: #000000; --old: #7a1010; --old-back: #ffffff; --new: #0d4a22; --new-back: #ffffff;
    --hunk: #444444; --hunk-back: #ffffff; --good: #000000; --bad: #7a1010; --warn: #000000;
  }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  .scroll { overflow: visible; border: 0; }
  thead { display: table-header-group; }
  tr, h2, h3, h4, details.change > summary { break-inside: avoid; break-after: auto; }
  h2, h3, h4 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
"""

#: What lets the browser use this style sheet and nothing else: no script, no image, no address.
POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(sha256(STYLE.encode()).digest()).decode()
    + "'"
)
