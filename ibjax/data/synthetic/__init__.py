"""Tasks that know their exact information quantities, in nats: `find("gaussian:d=3,rho=0.6")`."""

from ibjax.data.synthetic.registry import find, names

__all__ = ["find", "names"]
