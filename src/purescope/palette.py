"""The one palette of the project: Okabe and Ito's colours, which stay apart for colour-blind eyes."""

PALETTE = {
    "high_purity": "#0072B2",
    "low_purity": "#D55E00",
    "random": "#6E6E6E",
    "full": "#000000",
    "gap": "#009E73",
    "gap_to_random": "#0072B2",
    "order": "#000000",
    "image": "#56B4E9",
    "text": "#E69F00",
}
"""By what is shown. Blue and vermilion are equally dark in grey print, and both can be read on black and on white."""
