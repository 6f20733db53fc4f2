"""purescope: which neurons of a CLIP-style embedding are pure, and what pruning the others costs.

    import purescope as ps

    model = ps.load_model("bundled:laclip")
    features = ps.extract(model, ps.load_dataset("bundled:emoji"))
    table = ps.sweep(features, model.projections, keep=range(200, 501, 50), draws=50)
    ps.plot_accuracy(table)

The public names are listed in ``__init__.pyi``; each is imported when it is first used, so that
``purescope --help`` does not wait for torch. Nothing at all is imported before: a module in the
current folder, which Python may search first, is then none of ours, and the command line takes the
signals over soonest.
"""

import sys  # built in: no folder has another one

# The one place of the version: metadata, command line, manifests and documentation read it here.
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    return getattr(_attached(), name)


def __dir__() -> list[str]:
    return list(vars(_attached())["__all__"])


def _attached() -> object:
    """Put the lazy names into the place of these two functions."""
    import lazy_loader

    module = sys.modules[__name__]
    names = lazy_loader.attach_stub(__name__, __file__)
    vars(module).update(zip(("__getattr__", "__dir__", "__all__"), names, strict=True))
    return module
