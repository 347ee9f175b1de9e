"Photographs as people have them: files, pixels, colour profiles, reading, writing; errors, disks, progress. Nothing here imports torch on its own account."
