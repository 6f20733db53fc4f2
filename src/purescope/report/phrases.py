"""The sentences that the page's script shows with a name, a number or the reader's own words.

They stand in the data of the page. The script puts texts into the slots, which are written as in
``str.format``, and writes no words of its own.
"""

PHRASES = {
    "pair": "{model} on {dataset}",
    "note": "{metric}; {size}. {note}",
    "unmeasured": "{metric} was not measured here.",
    "described": "{title}. {start} At {k}: {values}.",
    "nothing measured": "{title}. Nothing was measured.",
    "value": "{label} {text}",
    "chosen dataset": "{title}, on {dataset}",
    "chosen pair": "{title}, {model} on {dataset}",
    "no table": "{model} on {dataset} was not measured",
    "kept": "{count} of {label}",
    "copy kept": "Copy the {kept}",
    "kept copied": "Indices of the {kept} copied",
    "copied": "Copied",
    "no neuron": "There is no neuron {text}, only 0 to {last}. Still shown: neuron {neuron}.",
    "not found": "Nothing found: no neuron with “{text}” in a closest word or class.",
    "one found": "1 neuron with “{text}” in a closest word or class:",
    "found": "{count} neurons with “{text}” in a closest word or class:",
    "many found": "{count} neurons with “{text}” in a closest word or class; the {shown} closest:",
    "match": "neuron {neuron}: {name} ({source}) ",
    "light": "Light",
    "dark": "Dark",
}
