"""The code that loads an export in its own library, as its model card shows it.

Each program runs in the folder of the export, and ends with one `similarities` of an image and a
sentence.
"""

_IMAGE = 'image = Image.new("RGB", (64, 48), "red")  # your image'
_SENTENCE = 'sentences = ["a photo of a cat", "a red flag"]'

OPEN_CLIP = f"""\
import open_clip
import torch
from PIL import Image

model, preprocess = open_clip.create_model_from_pretrained("local-dir:.")  # this folder
tokenize = open_clip.get_tokenizer("local-dir:.")
model.eval()

{_IMAGE}
{_SENTENCE}
with torch.no_grad():
    images = model.encode_image(preprocess(image)[None], normalize=True)
    texts = model.encode_text(tokenize(sentences), normalize=True)
similarities = images @ texts.T
"""

TRANSFORMERS = f"""\
import torch
from PIL import Image
from transformers import AutoProcessor, CLIPModel

model = CLIPModel.from_pretrained(".").eval()  # this folder
processor = AutoProcessor.from_pretrained(".", backend="pil")

{_IMAGE}
{_SENTENCE}
inputs = processor(
    text=sentences, images=image, return_tensors="pt", padding=True, truncation=True,
    max_length=model.config.text_config.max_position_embeddings,
)
with torch.no_grad():
    output = model(**inputs)
similarities = output.image_embeds @ output.text_embeds.T  # both have unit length
"""

SENTENCE_TRANSFORMERS = f"""\
from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(".")  # this folder

{_IMAGE}
{_SENTENCE}
images = model.encode([image])
texts = model.encode(sentences)
similarities = model.similarity(images, texts)
"""

_TRUNCATED = """\

# Its first axes hold most: keep as many as you like, and scale them to unit length again.
short = model.encode(sentences, truncate_dim={half}, normalize_embeddings=True)
"""

ONNX = f"""\
import json

import numpy as np
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

with open("purescope_onnx.json", encoding="utf-8") as file:  # in this folder
    config = json.load(file)
towers = {{
    tower: onnxruntime.InferenceSession(entry["file"], providers=["CPUExecutionProvider"])
    for tower, entry in config["towers"].items()
}}
tokenizer = Tokenizer.from_file(config["tokenizer"]["file"])


def prepare(image):
    steps = config["preprocess"]
    size, kernel = steps["size"], Image.Resampling[steps["interpolation"].upper()]
    image = image.convert("RGB")
    if steps["resize_mode"] == "shortest":
        image = image.resize([int(size * side / min(image.size)) for side in image.size], kernel)
        left, top = (round((side - size) / 2) for side in image.size)
        image = image.crop((left, top, left + size, top + size))
    else:
        image = image.resize((size, size), kernel)
    pixels = (np.asarray(image, dtype=np.float32) / 255 - steps["mean"]) / steps["std"]
    return pixels.transpose(2, 0, 1).astype(np.float32)


def encode(tower, rows):
    (embeddings,) = towers[tower].run(None, {{config["towers"][tower]["input"]: rows}})
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


{_IMAGE}
{_SENTENCE}
images = encode("image", np.stack([prepare(image)]))
texts = encode("text", np.array([row.ids for row in tokenizer.encode_batch(sentences)]))
similarities = images @ texts.T
"""

PURESCOPE = f"""\
import purescope as ps
from PIL import Image

model = ps.load_model(".")  # this folder

{_IMAGE}
{_SENTENCE}
pixels = model.preprocess.normalise(model.preprocess.pixels(image)[None])
images, texts = model.encode_image(pixels), model.encode_text(sentences)
images, texts = (rows / rows.norm(dim=1, keepdim=True) for rows in (images, texts))
similarities = images @ texts.T
"""

ROTATION = """\
import numpy as np
from safetensors.numpy import load_file

axes = load_file("rotation.safetensors")  # in this folder


def shorten(embeddings, tower):
    rows = embeddings @ axes[tower]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# Embeddings that the whole model made of images and of sentences: put yours here.
images, texts = np.random.default_rng(0).normal(size=(2, 10, axes["image"].shape[0]))
images, texts = shorten(images, "image"), shorten(texts, "text")
similarities = images @ texts.T
"""

_PROGRAMS = {
    "open_clip": OPEN_CLIP,
    "transformers": TRANSFORMERS,
    "sentence-transformers": SENTENCE_TRANSFORMERS,
    "onnx": ONNX,
    "purescope": PURESCOPE,
    "rotation": ROTATION,
}


def show_loading(form: str, *, neurons: int, kept: int) -> str:
    """Return the program that loads an export of this form and compares an image with sentences.

    Args:
        form: the form, as ``--to`` takes it.
        neurons: dimensions of the whole model.
        kept: dimensions of the export. A rotated model that keeps all of them is also shown with
            fewer, where its library can cut them.
    """
    program = _PROGRAMS[form]
    if form == "sentence-transformers" and kept == neurons:
        program += _TRUNCATED.format(half=max(1, kept // 2))
    return program
