/* What the runtime is built for; a bundle brings its own copy of this file. */
#ifndef RNNC_CONFIG_H
#define RNNC_CONFIG_H

#ifndef RNNC_TFLITE
#define RNNC_TFLITE 0
#endif

#ifndef RNNC_JOB_ROWS
#define RNNC_JOB_ROWS 64 /* row pointers that one job needs, at most */
#endif

#endif
