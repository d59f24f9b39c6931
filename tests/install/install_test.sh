#!/bin/sh
# install_test.sh - install into an empty prefix; build and run programs against it in each way that the docs name.
# SPDX-License-Identifier: MIT
set -eu

if [ $# != 7 ]; then
    echo "usage: install_test.sh CMAKE CC CXX SOURCE BUILD VERSION CONFIG" >&2
    exit 2
fi
cmake=$1 cc=$2 cxx=$3 source=$4 build=$5 version=$6 config=$7
here=$source/tests/install
work=$(mktemp -d)
stage="start"
finish()
{
    status=$?
    rm -rf "$work"
    [ $status = 0 ] || echo "install_test.sh: failed at: $stage" >&2
}
trap finish EXIT

fail()
{
    echo "$1" >&2
    exit 1
}

begin()
{
    stage=$1
    echo "-- $stage"
}

# expect_version COMMAND...: it prints "gathermm <version>" and succeeds.
expect_version()
{
    said=$("$@")
    [ "$said" = "gathermm $version" ] || fail "'$*' printed '$said', not 'gathermm $version'"
}

# install_into PREFIX: also sets $prefix and $libdir (lib, lib64, lib/x86_64-linux-gnu).
install_into()
{
    prefix=$1
    if ! "$cmake" --install "$build" --config "$config" --prefix "$prefix" >"$work/log" 2>&1; then
        cat "$work/log"
        exit 1
    fi
    libdir=$(find "$prefix" -name gathermm.pc)
    libdir=$(dirname "$(dirname "${libdir:?no gathermm.pc was installed}")")
}

begin "install"
unset DESTDIR # would move the prefix
install_into "$work/a prefix"
for file in "$prefix/bin/gathermm" "$libdir/libgathermm.so" "$libdir/libgathermm.so.$version" "$libdir/libgathermm.a" \
    "$libdir/cmake/gathermm/gathermm-config.cmake" "$prefix/share/man/man1/gathermm.1" \
    "$prefix/share/bash-completion/completions/gathermm"; do
    [ -e "$file" ] || fail "not installed: $file"
done
[ ! -e "$build/libgathermm_guard.so" ] || [ -e "$libdir/libgathermm_guard.so" ] || fail "libgathermm_guard.so was not installed"
for header in "$source"/include/gathermm/*.h; do
    cmp "$header" "$prefix/include/gathermm/${header##*/}"
done
# No path of the build may be left in the files that other builds read.
if grep -lrF -e "$build" -e "$source" "$libdir/cmake" "$libdir/pkgconfig"; then
    fail "these installed files name the folder of the build or of the source"
fi

begin "the installed command"
expect_version "$prefix/bin/gathermm" --version

begin "each header alone, as C99 and as C++11"
for header in "$prefix"/include/gathermm/*.h; do
    echo "#include <gathermm/${header##*/}>" >"$work/header.c"
    for repeat in once twice; do # twice: its guard
        "$cc" -std=c99 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$prefix/include" "$work/header.c"
        "$cxx" -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$prefix/include" "$work/header.c"
        [ $repeat = twice ] || echo "#include <gathermm/${header##*/}>" >>"$work/header.c"
    done
done

begin "find_package(gathermm), shared and static"
if ! "$cmake" -S "$here/consumer" -B "$work/consumer" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" \
    -DWANTED_VERSION="$version" >"$work/log" 2>&1 || ! "$cmake" --build "$work/consumer" >>"$work/log" 2>&1; then
    cat "$work/log"
    exit 1
fi
expect_version "$work/consumer/consumer_shared"
expect_version "$work/consumer/consumer_static"

begin "pkg-config, shared"
install_into "$work/prefix" # without a space: pkg-config quotes for eval, and $(pkg-config ...) is what people write
# The loader takes no guard from a folder with a space in its name.
if [ -e "$build/libgathermm_guard.so" ]; then
    expect_version "$prefix/bin/gathermm" guard -- "$prefix/bin/gathermm" --version
fi
PKG_CONFIG_PATH=$libdir/pkgconfig
export PKG_CONFIG_PATH
[ "$(pkg-config --modversion gathermm)" = "$version" ] || fail "gathermm.pc says version $(pkg-config --modversion gathermm)"
# shellcheck disable=SC2046
"$cc" -std=c11 $(pkg-config --cflags gathermm) "$here/consumer/consumer.c" $(pkg-config --libs gathermm) -o "$work/shared"
LD_LIBRARY_PATH=$libdir expect_version "$work/shared"

begin "the example of README.md"
awk '/^```c$/ && !seen { seen = 1; inside = 1; next } /^```/ { inside = 0 } inside' "$source/README.md" >"$work/readme.c"
[ -s "$work/readme.c" ] || fail "README.md has no C example"
# shellcheck disable=SC2046
"$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror $(pkg-config --cflags gathermm) "$work/readme.c" \
    $(pkg-config --libs gathermm) -o "$work/readme"
LD_LIBRARY_PATH=$libdir "$work/readme"

begin "pkg-config --static"
rm "$libdir"/libgathermm.so*
# shellcheck disable=SC2046
"$cc" -std=c11 $(pkg-config --cflags gathermm) "$here/consumer/consumer.c" $(pkg-config --static --libs gathermm) \
    -o "$work/static"
expect_version "$work/static"

begin "DESTDIR"
DESTDIR="$work/stage" "$cmake" --install "$build" --config "$config" --prefix /opt/gathermm >"$work/log"
[ -x "$work/stage/opt/gathermm/bin/gathermm" ] || fail "DESTDIR was not honoured"
grep -q '^prefix=/opt/gathermm$' "$(find "$work/stage" -name gathermm.pc)" ||
    fail "gathermm.pc has not the prefix that it was installed for"
