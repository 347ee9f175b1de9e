"Four times as large: bicubic as MATLAB does it, SRResNet, SRGAN."
