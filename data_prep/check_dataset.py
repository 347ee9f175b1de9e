"""Check a built data set for changed, missing, damaged and leaked photos: the command `restorer check` as a script.

    python data_prep/check_dataset.py data
"""
import sys

from restorer_fastai.cli import app

if __name__ == '__main__': app(['check', *sys.argv[1:]], prog_name='restorer')
