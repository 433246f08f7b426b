#pragma once
typedef void* cusparseHandle_t; typedef int cusparseStatus_t;
