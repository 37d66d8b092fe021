/* fds.h - closing what was inherited. */
#ifndef PF_FDS_H
#define PF_FDS_H

/* Close every descriptor from 3 on but these. -1s among them are passed over. 0 or -errno. */
int pf_close_all_but(const int *keep, int count);
/* Close every descriptor from that number on. 0 or -errno. */
int pf_close_from(int first);

#endif
