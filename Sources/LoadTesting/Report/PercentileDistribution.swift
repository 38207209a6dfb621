public import Histogram

/// HdrHistogram's text form of a distribution (`.hgrm`), which its plotting page and spreadsheets read.
public enum PercentileDistribution {
    /// Values in milliseconds, five steps per halving of the distance to 100 %, as wrk2 and HdrHistogram print them.
    public static func text(_ histogram: LatencyHistogram) -> String {
        var text = ""
        histogram.outputPercentileDistribution(to: &text, outputValueUnitScalingRatio: 1_000_000)
        return text
    }
}
