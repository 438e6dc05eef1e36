"""Tropical polynomials with integer exponents: the greatest of some affine forms with integer coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .homogeneous import above

Monomial = tuple[int, ...]


@dataclass(frozen=True)
class Polynomial:
    """max(a x + b y + .. + c): a sum of monomials c x^a y^b .. of the max-plus semiring; exponents may be negative.

    Attributes
    ----------
    monomials : tuple of tuples of int
        (a, b, .., c), sorted, no two with the same exponents.

    Examples
    --------
    >>> p = Polynomial.of([(1, 0, 0), (0, -2, 5), (1, 0, -3)])
    >>> p.said(("x", "y"))
    'max(-2y + 5, x)'
    >>> p((1, Fraction(1, 2)))
    Fraction(4, 1)
    >>> (p * p).said(("x", "y")), p.power(2).said(("x", "y"))
    ('max(-4y + 10, x - 2y + 5, 2x)', 'max(-4y + 10, 2x)')
    """

    monomials: tuple[Monomial, ...]

    @classmethod
    def of(cls, monomials: Iterable[Sequence[int]]) -> Polynomial:
        """The polynomial of these; where exponents are equal, the greatest constant counts."""
        best: dict[Monomial, int] = {}
        for *exponents, constant in monomials:
            key = tuple(exponents)
            best[key] = max(constant, best.get(key, constant))
        return cls(tuple(sorted((*key, constant) for key, constant in best.items())))

    def __len__(self) -> int:
        return len(self.monomials)

    def __call__(self, at: Sequence[Fraction | int]) -> Fraction:
        """The value at a point."""
        point = (*map(Fraction, at), Fraction(1))
        return max(sum((a * x for a, x in zip(m, point)), Fraction(0)) for m in self.monomials)

    def __add__(self, other: Polynomial) -> Polynomial:
        """The tropical sum, the greater of the two."""
        return Polynomial.of((*self.monomials, *other.monomials))

    def __mul__(self, other: Polynomial) -> Polynomial:
        """The tropical product, the sum of the two: as many monomials as pairs, but for equal exponents."""
        return Polynomial.of(tuple(map(sum, zip(m, n))) for m in self.monomials for n in other.monomials)

    def power(self, exponent: int) -> Polynomial:
        """The tropical power, `exponent` >= 0 times the value, without monomials that products have but do not need."""
        return Polynomial.of(tuple(exponent * a for a in m) for m in self.monomials)

    def after(self, forms: Sequence[Sequence[int]]) -> Polynomial:
        """With affine forms of other variables in the place of its own."""
        columns = list(zip(*forms))
        unit = [0] * (len(columns) - 1) + [1]
        return Polynomial.of(
            [above(m[:-1], column) + m[-1] * u for column, u in zip(columns, unit)] for m in self.monomials
        )

    def said(self, names: Sequence[str]) -> str:
        """As text."""
        parts = [_said(m, names) for m in self.monomials]
        return parts[0] if len(parts) == 1 else f"max({', '.join(parts)})"


def reduced(p: Polynomial, q: Polynomial) -> tuple[Polynomial, Polynomial]:
    """A pair with the same difference in which one of the two is 0, if one of them is a monomial.

    >>> x, y = Polynomial.of([(1, 0)]), Polynomial.of([(2, 0), (0, 3)])
    >>> [side.said("x") for side in reduced(y, x)], [side.said("x") for side in reduced(x, y)]
    (['max(-x + 3, x)', '0'], ['0', 'max(-x + 3, x)'])
    """
    for alone in (q, p):
        if len(alone) == 1:
            inverse = Polynomial.of([tuple(-a for a in alone.monomials[0])])
            return p * inverse, q * inverse
    return p, q


def _said(monomial: Monomial, names: Sequence[str]) -> str:
    text = ""
    for a, name in zip(monomial, (*names, "")):
        if a:
            size = str(abs(a)) if abs(a) > 1 or not name else ""
            sign = (" - " if a < 0 else " + ") if text else "-" if a < 0 else ""
            text += f"{sign}{size}{name}"
    return text or "0"
