"Every room at once, for notebooks: `from restorer_fastai.all import *`. Written by hand; a new room adds its line."
from .imaging import *
from .degrade import *
from .negative import *
from .dataset import *
from .data import *
from .layers import *
from .weights import *
from .weights import *
from .losses import *
from .generator import *
from .critic import *
from .gan import *
from .metrics import *
from .page import *
from .evaluate import *
from .train import *
from .restore import *
