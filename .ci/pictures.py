"""Checks that a folder holds a number of PNG files, each whole: signature, chunks with right checksums, pixels."""

import pathlib
import struct
import sys
import zlib


def check(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", f"{path} has no PNG signature"
    at, kinds, pixels = 8, [], b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body, checksum = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        assert struct.pack(">I", zlib.crc32(kind + body)) == checksum, f"{path}: chunk {kind} is damaged"
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        if kind == b"IDAT":
            pixels += body
        kinds.append(kind)
        at += 12 + length
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND", f"{path} is cut"
    channels = {0: 1, 2: 3, 6: 4}[colour]
    rows = zlib.decompress(pixels)
    assert len(rows) == height * (1 + width * channels * depth // 8), f"{path} has too few pixels"
    assert len(set(rows)) > 16, f"{path} shows nothing"
    print(f"{path}: {width} x {height}, {len(data)} bytes")


folder, expected = pathlib.Path(sys.argv[1]), int(sys.argv[2])
pictures = sorted(folder.glob("*.png"))
assert len(pictures) == expected, f"{len(pictures)} pictures in {folder}, not {expected}"
for picture in pictures:
    check(picture)
