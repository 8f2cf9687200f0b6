"""The elements of a page, read without a browser."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Every element with its attributes, and the text of those that have an id."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.inside = [], {}, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = dict(attributes).get("id", "")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.texts[self.inside] = self.texts.get(self.inside, "") + data
