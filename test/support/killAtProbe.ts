/** A probe of a job: says the step it has come to and kills this process (SIGKILL) when it is called for the nth time. */
export function killAtProbe(nth: number): (step: string) => void {
  let probes = 0
  return (step) => {
    probes += 1
    if (probes !== nth) return
    process.stdout.write(step)
    process.kill(process.pid, 'SIGKILL')
  }
}
