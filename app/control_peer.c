/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who a client is: the kernel says so, as of the moment when it connected. Permissions of the
 * socket file only keep away who could not do anything anyhow: what counts is this.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/control_client.h"

/* Supplementary groups. @return how many, 0 also when the kernel does not tell */
static unsigned
groups_read(int fd, gid_t **out)
{
	socklen_t size = 64 * sizeof(gid_t);
	gid_t *groups = NULL;

	/* It says how much it wants when that is more. They do not change any more, so twice is
	   enough. */
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		gid_t *larger = realloc(groups, size);

		if (larger == NULL)
			break;
		groups = larger;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
			*out = groups;
			return size / sizeof(gid_t);
		}
		if (errno != ERANGE)
			break;
	}
	free(groups);
	*out = NULL;
	return 0;
}

static bool
is_member(const struct conf_group *group, gid_t primary, const gid_t *groups, unsigned count)
{
	if (!group->set)
		return false;
	if (group->id == primary)
		return true;
	for (unsigned i = 0; i < count; i++)
		if (groups[i] == group->id)
			return true;
	return false;
}

void
peer_identify(int fd, const struct conf *conf, struct peer *peer)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);
	gid_t *groups;
	unsigned count;

	*peer = (struct peer){.access = CONTROL_LOOK};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
		snprintf(peer->text, sizeof(peer->text), "somebody unknown");
		return;
	}
	snprintf(peer->text, sizeof(peer->text), "pid %d uid %u", credentials.pid, credentials.uid);
	count = groups_read(fd, &groups);
	if (credentials.uid == 0 || credentials.uid == geteuid() ||
		is_member(&conf->group, credentials.gid, groups, count)) {
		peer->may_look = true;
		peer->access = CONTROL_CHANGE;
	} else {
		peer->may_look = is_member(&conf->look_group, credentials.gid, groups, count);
	}
	free(groups);
}
