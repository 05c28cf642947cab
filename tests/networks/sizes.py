"""What a test is played with."""


def sizes(name, short, long):
    """Values of a parameter: those that CI plays, and those of the long form."""

    def mark(test):
        test.sizes = [*getattr(test, "sizes", ()), (name, short, long)]
        return test

    return mark
