import pathlib
import unittest


class Words(unittest.TestCase):
    def test_there_are_some(self):
        self.assertTrue(pathlib.Path("src/words.txt").read_text().strip(), "there are no words")
