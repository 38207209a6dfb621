/// How a candidate's answers differ from those of the snapshot that serves, over recorded and sampled requests.
public struct SkewReport: Sendable {
    /// How many requests were compared.
    public let requestCount: Int
    /// How many of them the candidate refuses and the serving snapshot does not.
    public let refusedCount: Int
    /// Mean cosine of the two embeddings; nil if the snapshots belong to different spaces.
    public let cosineMean: Double?
    /// The least cosine.
    public let cosineMin: Double?
    /// The mean share of the serving snapshot's items that the candidate finds too, at the requests' own k.
    public let overlapMean: Double?
    /// The median ratio of the processor time that the candidate takes to what the serving one takes.
    public let latencyRatio: Double?

    init(requestCount: Int, refusedCount: Int, cosines: [Double], overlaps: [Double], latencyRatios: [Double]) {
        self.requestCount = requestCount
        self.refusedCount = refusedCount
        func mean(_ values: [Double]) -> Double? {
            values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
        }
        cosineMean = mean(cosines)
        cosineMin = cosines.min()
        overlapMean = mean(overlaps)
        latencyRatio = latencyRatios.isEmpty ? nil : latencyRatios.sorted()[latencyRatios.count / 2]
    }
}

/// What a candidate must keep of the answers of the snapshot that serves; nil requires nothing.
public struct SkewRequirement: Sendable {
    /// The least mean cosine of embeddings, where both belong to one space.
    public var cosineMin: Double?
    /// The least mean overlap of results.
    public var overlapMin: Double?
    /// The greatest median ratio of processor time.
    public var latencyRatioMax: Double?

    /// Requires nothing.
    public init() {}

    /// What the report misses of it; nil if nothing.
    func fault(of report: SkewReport) -> String? {
        let over = "over \(report.requestCount) requests"
        if let cosineMin, let cosine = report.cosineMean, cosine < cosineMin {
            return "embeddings have a mean cosine of \(rounded(cosine)) to those of the serving snapshot \(over), "
                + "required is \(cosineMin)"
        }
        if let overlapMin, let overlap = report.overlapMean, overlap < overlapMin {
            return
                "results share \(rounded(overlap)) of the serving snapshot's items \(over), required is \(overlapMin)"
        }
        if let latencyRatioMax, let ratio = report.latencyRatio, ratio > latencyRatioMax {
            return "requests take \(rounded(ratio)) times the processor time of the serving snapshot's \(over), "
                + "allowed is \(latencyRatioMax)"
        }
        if report.refusedCount > 0, overlapMin != nil || cosineMin != nil {
            return
                "\(report.refusedCount) of \(report.requestCount) requests are refused that the serving snapshot answers"
        }
        return nil
    }
}

/// Four digits behind the point.
func rounded(_ value: Double) -> Double { (value * 1e4).rounded() / 1e4 }
