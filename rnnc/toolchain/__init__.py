"""From a bundle of C to an image and its run: compilers, stack analysis, emulator, probe, CMSIS-DSP."""
