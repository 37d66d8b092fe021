/* What the instrumented supervisor does on a finding: its environment is empty and its stderr is
 * /dev/null, so the choice is linked in, and the findings go to files that the tests look for. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=1:abort_on_error=1:log_path=" LOG_PATH;
}

const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1:log_path=" LOG_PATH;
}

const char *__tsan_default_options(void)
{
    return "halt_on_error=1:die_after_fork=0:atexit_sleep_ms=50:log_path=" LOG_PATH;
}
