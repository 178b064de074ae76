"""haralyzer reads an HTTP Archive; what it read is printed as JSON.

read.py FILE
"""

import json
import sys

from haralyzer import HarParser

with open(sys.argv[1], encoding="utf-8") as file:
    parser = HarParser(json.load(file))
entries = parser.har_data["entries"]
read = []
for page in parser.pages:
    for entry in page.entries:
        # Times must be times to it, and fields are looked up by name.
        assert entry.startTime is not None
        entry.response.headers
        read.append([entry.request.method, entry.request.url, entry.response.status])
assert len(read) == len(entries), (len(read), len(entries))
print(json.dumps(read))
