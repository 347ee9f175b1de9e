"Photos of any size, files, rolls and albums through the networks. Needs neither fastai nor torchvision."
