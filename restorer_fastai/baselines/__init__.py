"What can be had without learning: the frame of a scan, negadoctor, denoisers, inpainting."
