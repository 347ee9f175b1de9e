"""Build a data set from clean photos: the command `restorer build` as a script.

    python data_prep/build_dataset.py --photos photos/voc2012 --out data --mix lapaz2021 --seed 0 --workers 4
"""
import sys

from restorer_fastai.cli import app

if __name__ == '__main__': app(['build', *sys.argv[1:]], prog_name='restorer')
