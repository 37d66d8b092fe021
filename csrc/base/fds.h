/* fds.h - closing inherited descriptors. */
#ifndef PF_FDS_H
#define PF_FDS_H

/* Close every descriptor from 3 on but those in `keep`; -1 in it stands for none. 0 or -errno. */
int pf_close_all_but(const int *keep, int count);
/* Close every descriptor from `first` on. 0 or -errno. */
int pf_close_from(int first);

#endif
