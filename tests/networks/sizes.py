"""What a test is played with."""


def sizes(name, short, long):
    """Values of a parameter: those that CI plays, and those of the long form."""

    def mark(test):
        test.sizes = [*getattr(test, "sizes", ()), (name, short, long)]
        return test

    return mark


def only(identity):
    """It is played with MsgServers that are all `named`, or all `unnamed`."""

    def mark(test):
        test.identities = {identity}
        return test

    return mark
