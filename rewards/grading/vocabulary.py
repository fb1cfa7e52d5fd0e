"""Word lists for grading: words that cannot begin an answer or that modify a number, functions, numerals."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Words after "the answer is" that begin a remark, not an answer: "verified", "consistent with the estimate".
NOT_ANSWERS = frozenset(
    _words(
        """
    a above accurate after also an and approximate are as at available based be because been before below boxed but
    by calculated can checked clear close complete computed confirmed consistent correct could derived determined
    done easy exact explained expressed final finally fine follows for found from given given: good he hence here
    how however i identical if immediate in incorrect independent is it its known let likely may measured might must
    my needed not now obtained obvious of on only or our plausible presented probably provided ready reasonable
    required right rounded same sensible she should shown simple since so sought sound stated still straightforward
    supported that the their then there therefore these they this those thus to trivial unclear unique using valid
    verified via wanted was we what when where which who whose why will with would written wrong yet you your
    """
    )
)

# Words after a number that change its meaning and so are not units: "or less", "north", "squared".
QUALIFIERS = frozenset(
    _words(
        """
    above ad after ago am and are at bc bce before below between but by ce choose cube cubed divided earlier east
    either except factorial fewer for from greater half halves higher hundredths if into is later least less lower
    midnight minus mod modulo more most multiplied negative neither no noon nor north not off only or out over per
    pi plus pm positive root since south square squared tenths than third thirds times to under until up was were
    west when with without
    """
    )
)

# Words that may occur in a formula; any other word of three or more letters turns an answer into words.
FUNCTIONS = frozenset(
    _words(
        """
    alpha arccos arcsin arctan beta binom cdot cos cosh cot csc delta exp frac gamma gcd ge infty int lambda lcm le
    lg lim ln log max min mod mu ne omega phi pi pmod prod psi rho sec sigma sin sinh sqrt sum tan tanh tau theta
    times to
    """
    )
)

ONES = {
    word: number
    for number, word in enumerate(
        _words(
            """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
    """
        )
    )
}
TENS = {
    word: 10 * number for number, word in enumerate(_words("twenty thirty forty fifty sixty seventy eighty ninety"), 2)
}
