"Restore damaged, black-and-white and negative photographs."
__version__ = "0.1.0"
__all__ = ['Restorer']


def __getattr__(name):
    "`Restorer` on first use: importing the package loads neither torch nor fastai."
    if name == 'Restorer':
        from .restore.restorer import Restorer
        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__(): return sorted([*globals(), *__all__])
