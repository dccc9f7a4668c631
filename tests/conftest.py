"""What all tests share: settings of TVM's thread pool, which reads them when it starts.

Two threads, where it would take half of the processors; they neither spin while they wait nor keep to one processor, as
other tests run beside.
"""

import os

os.environ.setdefault("TVM_NUM_THREADS", "2")
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "0")
os.environ.setdefault("TVM_BIND_THREADS", "0")
