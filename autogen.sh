#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes configure and Makefile.in in the source tree; run it once after a clone.
set -e
cd "$(dirname "$0")"
exec autoreconf --install --force
