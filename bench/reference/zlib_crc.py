"""CRC-32 by Python's zlib. usage: zlib_crc.py FILE REPEATS; prints JSON as pieces.c."""

import json
import sys
import time
import zlib

with open(sys.argv[1], "rb") as file:
    data = file.read()
crc = 0
wall, cpu = time.perf_counter(), time.process_time()
for _ in range(int(sys.argv[2])):
    crc = zlib.crc32(data)
result = {"wallSeconds": time.perf_counter() - wall, "cpuSeconds": time.process_time() - cpu}
print(json.dumps({**result, "crc": crc}))
