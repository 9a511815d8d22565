/* SPDX-License-Identifier: BSD-3-Clause */
#include "nat/icmp.h"

enum reason
icmp_relate(struct rte_mbuf *mbuf)
{
	(void)mbuf;
	return REASON_ICMP_ERROR;
}

bool
icmp_plausible(const struct rte_mbuf *mbuf)
{
	(void)mbuf;
	return false;
}

void
icmp_rewrite(struct rte_mbuf *mbuf)
{
	(void)mbuf;
}
