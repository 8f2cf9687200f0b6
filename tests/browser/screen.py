"""When a browser's screen shows what was asked of it."""


def painted(page):
    """Wait for two frames: before the second, what was asked for has been drawn."""
    page.evaluate(
        "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
    )


def resize(page, size):
    """Give the window another size, and let the page answer: its event comes with a frame."""
    page.set_viewport_size(size)
    painted(page)
