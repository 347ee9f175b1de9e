"Losses, callbacks, learners, the GAN."
