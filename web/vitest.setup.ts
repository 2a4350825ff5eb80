import fc from 'fast-check'

// In CI the same examples every time, so that a change is not judged by luck; elsewhere new ones, as Hypothesis does.
if (process.env.CI) fc.configureGlobal({ seed: 1 })
