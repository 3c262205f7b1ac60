# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libproto.a
libproto_a_SOURCES = \
	libproto/client.c libproto/client.h \
	libproto/client_io.c \
	libproto/client_migration.c libproto/client_private.h libproto/client_serve.c \
	libproto/lspci.c libproto/lspci.h \
	libproto/message.c libproto/message.h \
	libproto/pcapng.c libproto/pcapng.h \
	libproto/peer.c libproto/peer.h \
	libproto/state_stream.c libproto/state_stream.h \
	libproto/stream.c libproto/stream.h libproto/stream_private.h \
	libproto/stream_keep.c libproto/stream_keep.h \
	libproto/stream_send.c \
	libproto/stream_rest.c libproto/stream_rest.h \
	libproto/varlink.c libproto/varlink.h \
	libproto/version.c libproto/version.h \
	libproto/vfio_user.h libproto/wire.h
libproto_a_CFLAGS = $(AM_CFLAGS) $(JSON_CFLAGS) $(ZLIB_CFLAGS) $(DEFLATE_CFLAGS)
