"""purescope: which neurons of a CLIP-style embedding are pure, and what pruning the others costs.

    import purescope as ps

    model = ps.load_model("bundled:laclip")
    features = ps.extract(model, ps.load_dataset("bundled:emoji"))
    table = ps.sweep(features, model.projections, keep=range(200, 501, 50), draws=50)
    ps.plot_accuracy(table)

The public names are listed in ``__init__.pyi``; each is imported when it is first used, so that ``purescope --help``
does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
