# To be sourced (. ./env.sh) before the programs of this bundle use a GPU: finds cuBLASLt, says where, and lets the
# loader find it there. Looks at $CUDA_HOME, the usual places, the loader's own list, and Python's nvidia packages.
leeway_find_cublas() {
  local name=libcublasLt.so.13 place
  for place in "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
    /usr/lib/x86_64-linux-gnu; do
    if [ -e "$place/$name" ]; then
      echo "$place"
      return
    fi
  done
  place=$(ldconfig -p 2>/dev/null | awk -v name="$name" '$1 == name {print $NF; exit}')
  if [ -e "$place" ]; then  # (a list that ldconfig did not renew names what is gone)
    dirname "$place"
    return
  fi
  python3 - "$name" 2>/dev/null <<'PYTHON'
import glob, os, site, sys
for root in [*sys.path, *site.getsitepackages()]:
    for found in glob.glob(os.path.join(root, "nvidia", "*", "lib", sys.argv[1])):
        print(os.path.dirname(found))
        sys.exit()
PYTHON
}

leeway_cublas=$(leeway_find_cublas)
if [ -n "$leeway_cublas" ]; then
  echo "cuBLASLt is in $leeway_cublas"
  export LD_LIBRARY_PATH=$leeway_cublas${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
else
  echo "cuBLASLt (libcublasLt.so.13) was not found: CUDA 13 is not installed, or set CUDA_HOME"
fi
