#!/usr/bin/env bash
# An installed poolsearch does its work: tests/wheel.sh FOLDER_OF_ITS_PYTHON. Nothing of the repository is in reach.
set -euo pipefail
bin=$1
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export XDG_CACHE_HOME=$folder/cache XDG_STATE_HOME=$folder/state

"$bin/python" - <<'END'
from importlib.metadata import files
from pathlib import Path
import poolsearch

assert Path(poolsearch.__file__).samefile(next(f.locate() for f in files("poolsearch") if f.name == "__init__.py")), poolsearch
assert any(f.name == "py.typed" for f in files("poolsearch")), "the types are not declared"
END
"$bin/poolsearch" --help >help.txt
grep -q 'usage: poolsearch' help.txt
"$bin/poolsearch" check cifar-resnet20
"$bin/poolsearch" bench --seeds 2 >bench.txt # on the table that comes with the package
"$bin/poolsearch" run --data digits --width 2 --members 1 --epochs 1 --top-k 1 --retrain-epochs 1 --retrain-seeds 1 \
  --answer-at --control --device cpu --quiet --out run
for file in ranking.csv test.json report.html figures; do
  test -s "run/$file"
done
echo "The wheel, installed alone, works."
