"""Draws the edges of every picture in /pfs/images with OpenCV's Canny detector, into /pfs/out.

It knows nothing of Varve: it reads files from one folder and writes files to another.
"""

import sys
from pathlib import Path

import cv2

failed = 0
for picture in sorted(p for p in Path("/pfs/images").rglob("*") if p.is_file()):
    image = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    if image is None:
        print(f"{picture.name}: no picture that OpenCV can read", file=sys.stderr)
        failed += 1
        continue
    edges = cv2.Canny(cv2.GaussianBlur(image, (5, 5), 0), 50, 150)
    out = Path("/pfs/out") / f"{picture.stem}.png"
    cv2.imwrite(str(out), edges)
    print(f"{picture.name}: {image.shape[1]}x{image.shape[0]}, {int((edges > 0).sum())} edge pixels")
sys.exit(failed > 0)
