"""Static files, which the tests of one run look for once.

Each of Django's test clients makes all middleware anew, and WhiteNoise's then lists hundreds of files: half the CPU of
a test that makes one request.
"""

from whitenoise.middleware import WhiteNoiseMiddleware


def find_once() -> None:
    """Has middleware of WhiteNoise with the same prefix and caching share what the first one has found."""
    find = WhiteNoiseMiddleware.add_files_from_finders
    files_of: dict[tuple[str, int | None], dict[str, object]] = {}

    def add_files(middleware: WhiteNoiseMiddleware) -> None:
        kind = (middleware.static_prefix, middleware.max_age)
        if kind not in files_of:
            find(middleware)
            files_of[kind] = dict(middleware.files)
        middleware.files.update(files_of[kind])

    WhiteNoiseMiddleware.add_files_from_finders = add_files
